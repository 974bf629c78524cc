"""Batched tensor programs that know no paper: torch in, torch out, the member axis first."""

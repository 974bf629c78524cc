"""What makes the executed book public: what its pages say of themselves, the table in the README, the printed book."""

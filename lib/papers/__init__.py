"""One module a paper: its data, its model, its measurements. The name is the chapter's."""

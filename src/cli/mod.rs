//! docker's grammar: a client of the API like any other, a file per command.

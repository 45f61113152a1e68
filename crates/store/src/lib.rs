//! SQLite for run records and the append-only journal of batches. Knows not what the rows mean to a person.

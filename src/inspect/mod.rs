//! What a disk holds: its table, its volumes, their file systems and used maps. Reads only.

//! Where chunks and images live: directories and HTTP servers.

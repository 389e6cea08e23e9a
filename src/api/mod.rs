//! The Docker Engine API (v1.24 to v1.50) over HTTP/1.1 on unix sockets: a file per resource.

//! URIs, object stores, AWS credentials, listing and reading by raw keys, atomic puts

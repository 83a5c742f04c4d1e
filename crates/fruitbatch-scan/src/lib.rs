//! The table images: photos under a folder or an S3 prefix as rows

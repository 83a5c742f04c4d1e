//! A run: spec, chunks, commit log, learning, outputs, lineage

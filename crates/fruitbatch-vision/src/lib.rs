//! Models as SQL functions: catalogue, import, sessions, and the embed functions

//! Ballista: sessions, codecs and the in-process cluster

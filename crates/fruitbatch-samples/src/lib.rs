//! Draws a small labelled set of fruit photos

//! From a photo's bytes to exact pixels: decoding, orientation and resizing as libjpeg-turbo and Pillow do them

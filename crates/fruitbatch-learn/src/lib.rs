//! Scaler, PCA, KMeans and metrics over feature vectors: numbers in, numbers out

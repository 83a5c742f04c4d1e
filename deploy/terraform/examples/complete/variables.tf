variable "region" {
  description = "The region, which should be that of the photos."
  type        = string
  default     = "eu-west-3"
}

variable "bucket_name" {
  description = "The name of the bucket to make, which nobody else in the world may have."
  type        = string
}

variable "distribution_file" {
  description = "The tarball that `make dist` makes on an Arm machine: dist/fruitbatch-VERSION-aarch64-linux.tar.gz."
  type        = string
}

variable "model_files" {
  description = "The models, as `fruitbatch model fetch` leaves them in its cache folder."
  type        = set(string)
}

variable "executors" {
  description = "How many executors a run has."
  type        = number
  default     = 4
}

variable "name" {
  description = "The bucket's name, which nobody else in the world may have."
  type        = string
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes a bucket that isn't empty."
  type        = bool
}

variable "keep_old_versions_days" {
  description = "For how long an object that was overwritten or deleted can be had back."
  type        = number

  validation {
    condition     = var.keep_old_versions_days >= 1
    error_message = "It must be at least 1."
  }
}

variable "name" {
  description = "What names begin with."
  type        = string
}

variable "input" {
  description = "Where the photos are: s3://bucket/prefix/."
  type        = string
}

variable "output" {
  description = "Where the results go: s3://bucket/prefix/."
  type        = string
}

variable "model_store" {
  description = "Where the models are: s3://bucket/prefix/."
  type        = string
}

variable "distribution_arn" {
  description = "The object that the program is fetched from."
  type        = string
}

variable "log_group_arn" {
  description = "The log group that hosts write to."
  type        = string
}

variable "group_names" {
  description = "The names of the Auto Scaling groups."
  type        = object({ executor = string, driver = string })
}

variable "name" {
  description = "What names begin with."
  type        = string
}

variable "group_name" {
  description = "The name of the driver's Auto Scaling group."
  type        = string
}

variable "architecture" {
  description = "arm64 or x86_64: the program's."
  type        = string
}

variable "instance_type" {
  description = "The instance type. fruitbatch takes some 300 bytes of memory a listed photo, and 4 KB each while it learns."
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

variable "executor_group_name" {
  description = "The Auto Scaling group of the executors."
  type        = string
}

variable "executors" {
  description = "How many executors a run starts."
  type        = number
}

variable "subnet_ids" {
  description = "The subnets, one a zone."
  type        = list(string)
}

variable "security_group_id" {
  description = "The security group."
  type        = string
}

variable "instance_profile_name" {
  description = "The instance profile."
  type        = string
}

variable "scheduler_address" {
  description = "The scheduler: HOST:PORT."
  type        = string
}

variable "settings" {
  description = "More settings of the run, as environment variables."
  type        = map(string)
  default     = {}
}

variable "distribution" {
  description = "Where the program is fetched from, a tarball made by `make dist`, and its digest."
  type        = object({ bucket = string, key = string, sha256 = string })
}

variable "log_group_name" {
  description = "The log group to write to."
  type        = string
}

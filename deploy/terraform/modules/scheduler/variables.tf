variable "name" {
  description = "What names begin with."
  type        = string
}

variable "architecture" {
  description = "arm64 or x86_64: the program's."
  type        = string
}

variable "instance_type" {
  description = "The instance type; fruitbatch takes 0.3 GB of memory, 1 GB with a hundred executors."
  type        = string
}

variable "vpc_id" {
  description = "The network, in which the scheduler has a name."
  type        = string
}

variable "subnet_id" {
  description = "The subnet."
  type        = string
}

variable "security_group_id" {
  description = "The security group."
  type        = string
}

variable "instance_profile_name" {
  description = "The instance profile."
  type        = string
}

variable "domain" {
  description = "The private domain in which the scheduler has its name."
  type        = string
}

variable "port" {
  description = "The port to listen on."
  type        = number
}

variable "settings" {
  description = "More settings of the scheduler, as environment variables."
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

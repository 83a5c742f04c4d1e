variable "role" {
  description = "scheduler, executor or driver."
  type        = string
}

variable "region" {
  description = "The region, for the AWS command line."
  type        = string
}

variable "unit" {
  description = "The unit to start, of ../../../systemd."
  type        = string
}

variable "drop_in" {
  description = "What the unit needs besides: a drop-in."
  type        = string
  default     = ""
}

variable "settings_file" {
  description = "The name of the file below /etc/fruitbatch that the unit reads its settings from."
  type        = string
}

variable "settings" {
  description = "Settings of fruitbatch: environment variables. No secrets: user data can be read by whoever is on the host."
  type        = map(string)
}

variable "machine_settings" {
  description = "Environment variables of the scripts among `files`, in /etc/fruitbatch/machine.env."
  type        = map(string)
  default     = {}
}

variable "files" {
  description = "More files."
  type = list(object({
    path        = string
    permissions = string
    content     = string
  }))
  default = []
}

variable "distribution" {
  description = "Where the program is fetched from, a tarball made by `make dist`, and its digest."
  type = object({
    bucket = string
    key    = string
    sha256 = string
  })
}

variable "log_group_name" {
  description = "The log group that the unit's output goes to."
  type        = string
}

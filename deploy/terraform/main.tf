# A fleet on EC2: a bucket, a network without a way out, a scheduler that stays, executors on spot instances and a driver that
# come for a run and go after it. README.md says how it is used.

locals {
  # The letter of a processor: g is Arm's.
  architecture = can(regex("^[a-z]+[0-9]+g", var.executor_instance_types[0])) ? "arm64" : "x86_64"
  burstable    = local.architecture == "arm64" ? "t4g" : "t3a"

  scheduler_port = 50050
  executor_port  = 50051
  group_names    = { executor = "${var.name}-executors", driver = "${var.name}-driver" }

  # Below a prefix each, unless they are elsewhere.
  input       = coalesce(var.input, "s3://${var.bucket_name}/photos/")
  output      = coalesce(var.output, "s3://${var.bucket_name}/out/")
  model_store = "s3://${var.bucket_name}/models/"
  bucket_arns = distinct([
    for uri in [local.input, local.output, local.model_store] :
    "arn:${data.aws_partition.current.partition}:s3:::${regex("^s3://([^/]+)/", uri)[0]}"
  ])

  distribution = {
    bucket = module.bucket.name
    key    = aws_s3_object.distribution.key
    sha256 = filesha256(var.distribution_file)
  }
}

data "aws_partition" "current" {}

module "bucket" {
  source = "./modules/bucket"

  name                   = var.bucket_name
  force_destroy          = var.bucket_force_destroy
  keep_old_versions_days = var.keep_old_versions_days
}

# The program, for hosts to fetch; which digest is the right one stands in their user data.
resource "aws_s3_object" "distribution" {
  #checkov:skip=CKV_AWS_186:Encrypted as everything in the bucket is.
  bucket      = module.bucket.name
  key         = "dist/${basename(var.distribution_file)}"
  source      = var.distribution_file
  source_hash = filesha256(var.distribution_file)

  lifecycle {
    precondition {
      condition     = strcontains(basename(var.distribution_file), local.architecture == "arm64" ? "aarch64" : "x86_64")
      error_message = "The tarball is for another kind of processor than executor_instance_types."
    }
  }
}

# Models are called by their digest: then nobody has to believe a name.
resource "aws_s3_object" "model" {
  #checkov:skip=CKV_AWS_186:Encrypted as everything in the bucket is.
  for_each = var.model_files

  bucket = module.bucket.name
  key    = "models/${filesha256(each.key)}.onnx"
  source = each.key
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:Encrypted with the service's own keys; a log names photos, and holds no secret.
  #checkov:skip=CKV_AWS_338:What a run did stands in its output; a log is for finding out why, soon after.
  name              = "/${var.name}"
  retention_in_days = var.log_retention_days
}

module "network" {
  source = "./modules/network"

  name                         = var.name
  cidr_block                   = var.cidr_block
  zones                        = var.zones
  endpoints_in_every_zone      = var.endpoints_in_every_zone
  bucket_arns                  = local.bucket_arns
  scheduler_port               = local.scheduler_port
  executor_port                = local.executor_port
  prometheus_security_group_id = var.prometheus_security_group_id
}

module "iam" {
  source = "./modules/iam"

  name             = var.name
  input            = local.input
  output           = local.output
  model_store      = local.model_store
  distribution_arn = aws_s3_object.distribution.arn
  log_group_arn    = aws_cloudwatch_log_group.this.arn
  group_names      = local.group_names
}

module "scheduler" {
  source = "./modules/scheduler"

  name                  = var.name
  architecture          = local.architecture
  instance_type         = coalesce(var.scheduler_instance_type, "${local.burstable}.small")
  vpc_id                = module.network.vpc_id
  subnet_id             = module.network.subnet_ids[0]
  security_group_id     = module.network.security_group_ids["scheduler"]
  instance_profile_name = module.iam.instance_profile_names["scheduler"]
  domain                = "${var.name}.internal"
  port                  = local.scheduler_port
  settings              = var.scheduler_settings
  distribution          = local.distribution
  log_group_name        = aws_cloudwatch_log_group.this.name
}

module "executors" {
  source = "./modules/executors"

  name                  = var.name
  group_name            = local.group_names.executor
  architecture          = local.architecture
  instance_types        = var.executor_instance_types
  max_size              = var.executors
  on_demand_base        = var.executors_on_demand
  drain_timeout         = var.drain_timeout
  volume_gb             = var.executor_volume_gb
  subnet_ids            = module.network.subnet_ids
  security_group_id     = module.network.security_group_ids["executor"]
  instance_profile_name = module.iam.instance_profile_names["executor"]
  scheduler_address     = module.scheduler.address
  port                  = local.executor_port
  settings              = var.executor_settings
  distribution          = local.distribution
  log_group_name        = aws_cloudwatch_log_group.this.name
}

module "driver" {
  source = "./modules/driver"

  name                  = var.name
  group_name            = local.group_names.driver
  architecture          = local.architecture
  instance_type         = coalesce(var.driver_instance_type, "${local.burstable}.medium")
  input                 = local.input
  output                = local.output
  model_store           = local.model_store
  executor_group_name   = module.executors.group_name
  executors             = var.executors
  subnet_ids            = module.network.subnet_ids
  security_group_id     = module.network.security_group_ids["driver"]
  instance_profile_name = module.iam.instance_profile_names["driver"]
  scheduler_address     = module.scheduler.address
  settings              = var.run_settings
  distribution          = local.distribution
  log_group_name        = aws_cloudwatch_log_group.this.name
}

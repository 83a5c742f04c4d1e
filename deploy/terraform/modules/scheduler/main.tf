# A small instance that stays. It keeps nothing: whatever happens to it, the next one takes its name, and executors and
# drivers wait for it.

data "aws_region" "current" {}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture}"
}

module "machine" {
  source = "../machine"

  role           = "scheduler"
  region         = data.aws_region.current.region
  unit           = "fruitbatch-scheduler.service"
  settings_file  = "scheduler.env"
  distribution   = var.distribution
  log_group_name = var.log_group_name

  settings = merge({
    FRUITBATCH_BIND = "0.0.0.0:${var.port}"
    # For whoever forwards the port by Session Manager, and nobody else.
    FRUITBATCH_UI         = "127.0.0.1:4040"
    FRUITBATCH_LOG_FORMAT = "json"
  }, var.settings)
}

resource "aws_instance" "this" {
  #checkov:skip=CKV_AWS_126:Its own metrics say more than CloudWatch's by the minute would.
  ami                         = data.aws_ssm_parameter.image.insecure_value
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [var.security_group_id]
  iam_instance_profile        = var.instance_profile_name
  ebs_optimized               = true
  user_data                   = module.machine.user_data
  user_data_replace_on_change = true

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 10
    encrypted   = true
  }

  tags = {
    Name              = "${var.name}-scheduler"
    "fruitbatch:role" = "scheduler"
  }

  lifecycle {
    # A newer image is no reason to interrupt a fleet: `terraform apply -replace` takes it when you like.
    ignore_changes = [ami]
  }
}

# A name, so that executors and drivers needn't know which instance it is.
resource "aws_route53_zone" "this" {
  #checkov:skip=CKV2_AWS_38:Private zones can't be signed.
  #checkov:skip=CKV2_AWS_39:Only the fleet asks here, and always for the same name.
  name    = var.domain
  comment = "fruitbatch"

  vpc {
    vpc_id = var.vpc_id
  }
}

resource "aws_route53_record" "this" {
  zone_id = aws_route53_zone.this.zone_id
  name    = "scheduler.${var.domain}"
  type    = "A"
  ttl     = 10
  records = [aws_instance.this.private_ip]
}

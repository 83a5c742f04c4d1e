# The driver: an instance for as long as a run takes. Setting the group's desired capacity to 1 starts it; it has the
# executors started, runs `fruitbatch run`, sends them home and then itself. An instance that fails in between is replaced by
# the group, and the same command goes on where it was. Nobody's laptop is needed meanwhile.

data "aws_region" "current" {}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture}"
}

module "machine" {
  source = "../machine"

  role           = "driver"
  region         = data.aws_region.current.region
  unit           = "fruitbatch-run@main.service"
  settings_file  = "run-main.env"
  distribution   = var.distribution
  log_group_name = var.log_group_name

  settings = merge({
    FRUITBATCH_INPUT       = var.input
    FRUITBATCH_OUTPUT      = var.output
    FRUITBATCH_MODEL_STORE = var.model_store
    FRUITBATCH_SCHEDULER   = "df://${var.scheduler_address}"
    # For whoever forwards the port by Session Manager, and nobody else.
    FRUITBATCH_UI         = "127.0.0.1:4040"
    FRUITBATCH_LOG_FORMAT = "json"
  }, var.settings)

  # The fleet starts with each try of the run, and goes when there is no other try: when the run is done, or hopeless, or
  # somebody stopped it. Not when the instance itself goes down: then the next one goes on.
  drop_in = <<-UNIT
    [Unit]
    OnSuccess=fruitbatch-fleet-down.service
    OnFailure=fruitbatch-fleet-down.service
    Wants=fruitbatch-fleet-up.service
    After=fruitbatch-fleet-up.service
  UNIT
  machine_settings = {
    EXECUTOR_GROUP = var.executor_group_name
    EXECUTORS      = var.executors
    DRIVER_GROUP   = var.group_name
  }
  files = [
    {
      path        = "/usr/local/sbin/fruitbatch-fleet"
      permissions = "0755"
      content     = file("${path.module}/fleet.sh")
    },
    {
      path        = "/etc/systemd/system/fruitbatch-fleet-up.service"
      permissions = "0644"
      content     = file("${path.module}/fruitbatch-fleet-up.service")
    },
    {
      path        = "/etc/systemd/system/fruitbatch-fleet-down.service"
      permissions = "0644"
      content     = file("${path.module}/fruitbatch-fleet-down.service")
    },
  ]
}

resource "aws_launch_template" "this" {
  name                   = "${var.name}-driver"
  image_id               = data.aws_ssm_parameter.image.insecure_value
  instance_type          = var.instance_type
  ebs_optimized          = true
  update_default_version = true
  user_data              = base64encode(module.machine.user_data)
  vpc_security_group_ids = [var.security_group_id]

  iam_instance_profile {
    name = var.instance_profile_name
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = 10
      encrypted             = true
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.value
      tags = {
        Name              = "${var.name}-driver"
        "fruitbatch:role" = "driver"
      }
    }
  }
}

resource "aws_autoscaling_group" "this" {
  name                = var.group_name
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = var.subnet_ids
  health_check_type   = "EC2"
  # A second one, started to even out zones before the first is gone, would only be refused the output.
  suspended_processes = ["AZRebalance"]

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  tag {
    key                 = "Name"
    value               = "${var.name}-driver"
    propagate_at_launch = false
  }

  lifecycle {
    # Whoever starts a run says 1, and the run says 0 in the end.
    ignore_changes = [desired_capacity]
  }
}

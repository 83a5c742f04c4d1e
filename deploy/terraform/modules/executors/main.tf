# The executors: an Auto Scaling group of spot instances, none until a run wants them.
#
# One kind of processor. The same photo gives the same features bit for bit only on one kind: others round in another
# order. So the group mixes families that share a processor (c7g, m7g and r7g are all Graviton3), over all zones: each pair of type and
# zone is one more pool that spot capacity may be had from.

data "aws_region" "current" {}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture}"
}

locals {
  hook = "leave-in-peace"
}

module "machine" {
  source = "../machine"

  role           = "executor"
  region         = data.aws_region.current.region
  unit           = "fruitbatch-executor.service"
  settings_file  = "executor.env"
  distribution   = var.distribution
  log_group_name = var.log_group_name

  settings = merge({
    FRUITBATCH_BIND          = "0.0.0.0:${var.port}"
    FRUITBATCH_SCHEDULER     = var.scheduler_address
    FRUITBATCH_DRAIN_TIMEOUT = var.drain_timeout
    FRUITBATCH_EC2_NOTICES   = "true"
    FRUITBATCH_LOG_FORMAT    = "json"
  }, var.settings)

  # When it has left, the group needn't wait for the hook's time to pass.
  drop_in = <<-UNIT
    [Unit]
    OnSuccess=fruitbatch-left.service
    [Service]
    TimeoutStopSec=${var.drain_timeout + 30}
  UNIT
  machine_settings = {
    EXECUTOR_GROUP = var.group_name
    EXECUTOR_HOOK  = local.hook
  }
  files = [
    {
      path        = "/usr/local/sbin/fruitbatch-left"
      permissions = "0755"
      content     = file("${path.module}/left.sh")
    },
    {
      path        = "/etc/systemd/system/fruitbatch-left.service"
      permissions = "0644"
      content     = file("${path.module}/fruitbatch-left.service")
    },
  ]
}

resource "aws_launch_template" "this" {
  name                   = "${var.name}-executor"
  image_id               = data.aws_ssm_parameter.image.insecure_value
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
      volume_size           = var.volume_gb
      encrypted             = true
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.value
      tags = {
        Name              = "${var.name}-executor"
        "fruitbatch:role" = "executor"
      }
    }
  }
}

resource "aws_autoscaling_group" "this" {
  name                = var.group_name
  min_size            = 0
  max_size            = var.max_size
  desired_capacity    = 0
  vpc_zone_identifier = var.subnet_ids
  health_check_type   = "EC2"

  # A replacement is started as soon as EC2 thinks that an instance may be taken back; that one leaves in peace.
  capacity_rebalance = true
  # Zones that are out of balance are none of our concern, and terminating executors for it would be.
  suspended_processes = ["AZRebalance"]

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = var.on_demand_base
      on_demand_percentage_above_base_capacity = 0
      # The cheapest among the pools that are deep enough. The work of an executor that is taken back is half a minute at
      # most, so price may count for something; `capacity-optimized` would look at the depth alone.
      spot_allocation_strategy = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.this.id
        version            = aws_launch_template.this.latest_version
      }

      dynamic "override" {
        for_each = var.instance_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  # An instance that is to go stays until its executor has left, or this much time has passed. A spot interruption lets it
  # have two minutes, whatever is said here.
  initial_lifecycle_hook {
    name                 = local.hook
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    heartbeat_timeout    = var.drain_timeout + 60
    default_result       = "CONTINUE"
  }

  tag {
    key                 = "Name"
    value               = "${var.name}-executor"
    propagate_at_launch = false
  }

  lifecycle {
    # Runs say how many there are.
    ignore_changes = [desired_capacity]
  }
}

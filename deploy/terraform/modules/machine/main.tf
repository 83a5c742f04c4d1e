# What a host does at its first boot, as cloud-init's user data: it gets the program and has systemd start its unit, one of
# ../../../systemd, with a drop-in for what is different on EC2. Makes no resource. Holds no secret.

locals {
  units = "${path.module}/../../../systemd"
  # fruitbatch-run@.service is started as fruitbatch-run@main.service.
  unit_file = replace(var.unit, "/@[^.]*\\./", "@.")

  # As systemd reads such files: in quotes, where only quotes and backslashes mean something else.
  environments = {
    settings = merge({ AWS_REGION = var.region }, var.settings)
    machine  = merge({ AWS_REGION = var.region }, var.machine_settings)
  }
  environment_files = {
    for name, variables in local.environments : name => join("", [
      for key, value in variables : "${key}=\"${replace(replace(value, "\\", "\\\\"), "\"", "\\\"")}\"\n"
    ])
  }

  files = concat(
    [
      {
        path        = "/etc/fruitbatch/${var.settings_file}"
        permissions = "0600"
        content     = local.environment_files.settings
      },
      {
        path        = "/etc/fruitbatch/machine.env"
        permissions = "0644"
        content     = local.environment_files.machine
      },
      {
        path        = "/etc/systemd/system/${local.unit_file}"
        permissions = "0644"
        content     = file("${local.units}/${local.unit_file}")
      },
      {
        path        = "/etc/systemd/system/${local.unit_file}.d/ec2.conf"
        permissions = "0644"
        content     = <<-UNIT
          ${var.drop_in}
          [Service]
          # Where the agent for CloudWatch reads.
          StandardOutput=append:/var/log/fruitbatch/${var.role}.log
          StandardError=append:/var/log/fruitbatch/${var.role}.log
        UNIT
      },
      {
        path        = "/etc/logrotate.d/fruitbatch"
        permissions = "0644"
        content     = <<-CONFIG
          /var/log/fruitbatch/*.log {
              size 100M
              rotate 2
              compress
              copytruncate
              missingok
          }
        CONFIG
      },
      {
        path        = "/etc/fruitbatch/cloudwatch-agent.json"
        permissions = "0644"
        content = jsonencode({
          logs = {
            logs_collected = {
              files = {
                collect_list = [{
                  file_path       = "/var/log/fruitbatch/${var.role}.log"
                  log_group_name  = var.log_group_name
                  log_stream_name = "${var.role}/{instance_id}"
                }]
              }
            }
          }
        })
      },
      {
        path        = "/usr/local/sbin/fruitbatch-install"
        permissions = "0755"
        content = templatefile("${path.module}/install.sh.tftpl", {
          bucket = var.distribution.bucket
          key    = var.distribution.key
          sha256 = var.distribution.sha256
          unit   = var.unit
        })
      },
      {
        path        = "/etc/systemd/system/fruitbatch-install.service"
        permissions = "0644"
        content     = file("${path.module}/fruitbatch-install.service")
      },
    ],
    var.files,
  )
}

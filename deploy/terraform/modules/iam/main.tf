# What each role may do, and nothing else:
#   all        fetch the program, write the fleet's log, be reached by Session Manager
#   executor   read photos and models; tell its group that it has left
#   driver     read photos, read and write results and models; say how many executors there are
# The scheduler reads and writes nothing. The policies about photos and results also serve roles of Kubernetes service accounts.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  arn_prefix = "arn:${data.aws_partition.current.partition}"
  account    = data.aws_caller_identity.current.account_id
  region     = data.aws_region.current.region

  uris        = { input = var.input, output = var.output, models = var.model_store }
  places      = { for name, uri in local.uris : name => regex("^s3://(?P<bucket>[^/]+)/(?P<prefix>.*)$", uri) }
  bucket_arns = { for name, place in local.places : name => "${local.arn_prefix}:s3:::${place.bucket}" }
  object_arns = { for name, place in local.places : name => "${local.bucket_arns[name]}/${place.prefix}*" }

  # The part that can't be known is the id that Auto Scaling gives a group.
  group_arn_prefix = "${local.arn_prefix}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName"
  group_arns       = { for role, name in var.group_names : role => "${local.group_arn_prefix}/${name}" }

  roles = toset(["scheduler", "executor", "driver"])
}

# Photos and models, for executors.
data "aws_iam_policy_document" "executor_data" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = distinct([local.object_arns.input, local.object_arns.models])
  }

  # Without the right to list, S3 answers "forbidden" for an object that isn't there, and a photo that was deleted meanwhile
  # would look like a fault. Such a request names no prefix: hence IfExists.
  statement {
    sid       = "NotThereIsNotForbidden"
    actions   = ["s3:ListBucket"]
    resources = distinct([local.bucket_arns.input, local.bucket_arns.models])

    condition {
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = distinct(["${local.places.input.prefix}*", "${local.places.models.prefix}*"])
    }
  }
}

# Photos, results and models, for drivers.
data "aws_iam_policy_document" "driver_data" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = distinct(values(local.object_arns))
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = distinct(values(local.bucket_arns))

    condition {
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = distinct([for place in local.places : "${place.prefix}*"])
    }
  }

  statement {
    sid       = "Write"
    actions   = ["s3:PutObject"]
    resources = distinct([local.object_arns.output, local.object_arns.models])
  }

  statement {
    sid       = "DeleteWhatItWrote"
    actions   = ["s3:DeleteObject"]
    resources = [local.object_arns.output]
  }
}

resource "aws_iam_policy" "executor_data" {
  name        = "${var.name}-executor-data"
  description = "Read the photos and models of fruitbatch"
  policy      = data.aws_iam_policy_document.executor_data.json
}

resource "aws_iam_policy" "driver_data" {
  name        = "${var.name}-driver-data"
  description = "Read the photos, read and write the results and models of fruitbatch"
  policy      = data.aws_iam_policy_document.driver_data.json
}

data "aws_iam_policy_document" "host" {
  #checkov:skip=CKV_AWS_356:Session Manager's channels have no names that a policy could give.
  #checkov:skip=CKV_AWS_111:As above.
  statement {
    sid       = "FetchTheProgram"
    actions   = ["s3:GetObject"]
    resources = [var.distribution_arn]
  }

  statement {
    sid       = "WriteTheLog"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${var.log_group_arn}:*"]
  }

  # Less than AmazonSSMManagedInstanceCore, which also reads every parameter of the account.
  statement {
    sid = "SessionManager"
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "executor_group" {
  statement {
    sid       = "SayThatItHasLeft"
    actions   = ["autoscaling:CompleteLifecycleAction"]
    resources = [local.group_arns.executor]
  }
}

data "aws_iam_policy_document" "driver_group" {
  statement {
    sid       = "StartAndEndTheFleet"
    actions   = ["autoscaling:SetDesiredCapacity"]
    resources = [local.group_arns.executor, local.group_arns.driver]
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name               = "${var.name}-${each.key}"
  description        = "fruitbatch ${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_instance_profile" "this" {
  for_each = local.roles

  name = "${var.name}-${each.key}"
  role = aws_iam_role.this[each.key].name
}

resource "aws_iam_role_policy" "host" {
  for_each = local.roles

  name   = "host"
  role   = aws_iam_role.this[each.key].id
  policy = data.aws_iam_policy_document.host.json
}

resource "aws_iam_role_policy" "executor_group" {
  name   = "group"
  role   = aws_iam_role.this["executor"].id
  policy = data.aws_iam_policy_document.executor_group.json
}

resource "aws_iam_role_policy" "driver_group" {
  name   = "groups"
  role   = aws_iam_role.this["driver"].id
  policy = data.aws_iam_policy_document.driver_group.json
}

resource "aws_iam_role_policy_attachment" "executor_data" {
  role       = aws_iam_role.this["executor"].name
  policy_arn = aws_iam_policy.executor_data.arn
}

resource "aws_iam_role_policy_attachment" "driver_data" {
  role       = aws_iam_role.this["driver"].name
  policy_arn = aws_iam_policy.driver_data.arn
}

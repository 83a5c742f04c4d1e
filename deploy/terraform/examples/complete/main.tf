# All of it, in one region. README.md says how to go from here to clusters.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { project = "fruitbatch" }
  }
}

module "fruitbatch" {
  source = "../.."

  bucket_name       = var.bucket_name
  distribution_file = var.distribution_file
  model_files       = var.model_files
  executors         = var.executors

  # Six clusters instead of as many as there are labels: any flag of `fruitbatch run` goes here.
  run_settings = { FRUITBATCH_N_CLUSTERS = "6" }
}

# Vault Agent or OpenBao Agent for a consumer of the account main: `vault agent -config=agent.hcl`.
# It logs in, keeps a file with the secret and writes it anew after a rotation. VAULT_ADDR says where Vault is.

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/etc/nexmo-main/role-id"
      secret_id_file_path                 = "/etc/nexmo-main/secret-id"
      remove_secret_id_file_after_reading = false # it logs in again after a restart
    }
  }
}

template_config {
  # How old the file may be. Far less than the account's grace, which is how long the secret before it works.
  static_secret_render_interval = "1m"
}

template {
  source               = "/etc/nexmo-main/nexmo.env.ctmpl"
  destination          = "/run/nexmo-main/nexmo.env"
  perms                = "0600"
  error_on_missing_key = true # rather no new file than one without a secret
  # Unless the service reads the file when it needs it:
  # exec { command = ["systemctl", "reload", "my-service"] }
}

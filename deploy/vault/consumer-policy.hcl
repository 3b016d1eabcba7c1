# What a consumer may do: read the published document of its account. setup.sh makes one of it for each account that it
# is given, with the account's path in place of nexmo/main. No journal is within reach: they hold secrets of all accounts.
path "secret/data/nexmo/main" {
  capabilities = ["read"]
}

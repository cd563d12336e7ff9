//! What `--help` says beside the arguments: examples, and the exit statuses that scripts rely on.

pub(crate) const COMMAND: &str = "\
Examples:
  holdfast status
  holdfast --profile prod alerts
  holdfast -o json points --tenant acme | jq '.points[0].id'
  source <(holdfast completions bash)

Exit status:
  0  done, and what was asked about is well
  1  not done, or done and not well (a restore that was not proven, uncovered data); the message says which
  2  wrong usage; nothing was asked of anybody
  3  refused: no credentials, no permission, no approval, or somebody else was first
  4  there is no such tenant, recovery point, hold or request
  5  no answer, or one that may be another a little later; ask again
  6  something in the vault is missing, damaged or not authentic

With --output json the answer is JSON on standard output, and a failure is JSON on standard error:
{\"error\": {\"code\": \"UnknownTenant\", \"message\": \"…\", \"exit_status\": 4}}. Wrong usage is always plain text.
Nothing is coloured if NO_COLOR is set, and progress is shown on a terminal only.";

pub(crate) const RESTORE: &str = "\
The way of a restore:
  1. holdfast restore request --tenant acme --reason \"rows deleted by mistake, ticket 4711\"
  2. holdfast restore preview rq_…    what it would return, overwrite and destroy
  3. holdfast restore approve rq_…    another person, who has read the preview
  4. holdfast restore watch rq_…      succeeds only if everything matched

Of another time, or another kind:
  holdfast restore request --tenant acme --time 2026-11-23T09:30:00Z --reason \"…\"
  holdfast restore request --tenant acme --kind media --reason \"…\"

docs/runbooks has a page for each, with what to do if a step fails.";

pub(crate) const VAULT: &str = "\
Examples:
  holdfast vault check --tenant acme                   is everything there, and signed?
  holdfast vault check --tenant acme --read-data 1/1   reads every byte of the newest of each kind
  holdfast vault check --tenant acme --read-data 1/7   a seventh of it; 2/7 tomorrow, and so on
  holdfast vault ls --tenant acme --kind database
  holdfast vault show --tenant acme --point rp_…";

pub(crate) const ERASE: &str = "\
Every recovery point of the tenant goes, whatever the policy says, and so does its KMS key if it has one of its own. Nothing brings them
back. A hold outweighs an erasure.

The way of an erasure:
  1. the platform lists the tenant as `deleted`
  2. holdfast erase request --tenant acme --reason \"contract ended, ticket 4711\"
  3. holdfast erase approve er_…      another person, who has read what would go
  4. holdfast erase show er_… --output json   the evidence; look again when keys or locks have come to their end";

pub(crate) const HOLD: &str = "\
A hold is named by its reason: placed twice, it is one. It may be prolonged by placing it again with a later --until, and ends earlier
only by a release, which says why. Without --point it is about every recovery point that the tenant has now; later ones are not held.

Examples:
  holdfast hold place --tenant acme --point rp_… --reason \"case 4711\"
  holdfast hold place --tenant acme --reason \"case 4711\" --until 2027-12-31T00:00:00Z
  holdfast hold list --tenant acme
  holdfast hold release --tenant acme --hold \"case 4711\" --reason \"case 4711 is closed, says legal\"";

pub(crate) const AUDIT: &str = "\
Examples:
  holdfast audit --request rq_…                        the whole story of one restore
  holdfast audit --since 2026-11-20T00:00:00Z --act hold
  holdfast audit --actor ana --about acme";

#!/usr/bin/env bash
# Opens or updates the pull request of the weekly trust check. Needs gh, git and the variables of trust-check.yml:
# PATCH (a diff of trust_roots, gzip and base64), REPORT (the output of the check, base64), BRANCH and GH_TOKEN.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
bot='41898282+github-actions[bot]@users.noreply.github.com'

printf %s "$PATCH" | base64 --decode | gzip --decompress > "$work/patch"
# Apply the changes to these files only, and no other change of the patch.
git apply --index --include='trust_roots/manifest.toml' --include='trust_roots/intermediates/*.pem' "$work/patch"
git -c user.name='github-actions[bot]' -c user.email="$bot" commit --quiet \
    --message 'Add the authorities that Azure publishes to trust_roots'

{
    cat <<'BODY'
The weekly trust check made entries for certificates that Azure's page lists and no manifest pins. Each certificate has the thumbprint of the page, and a trusted authority issued it.

Before you merge, a maintainer must:

- compare each thumbprint with [Azure's page](https://learn.microsoft.com/en-us/azure/security/fundamentals/azure-certificate-authority-details);
- delete the clouds that the authority does not serve (an entry names every cloud that trusts its issuer);
- add the line in `trust_roots/PROVENANCE.tsv`, and run the tests, which this pull request does not start.

`added` lines name the entries. `no entry` lines name the authorities that need an entry by hand, with the reason.

BODY
    # Indented text is a code block, so a name on the page cannot become Markdown.
    printf %s "$REPORT" | base64 --decode | sed 's/^/    /'
} > "$work/body.md"

gh auth setup-git
if git fetch --quiet --depth=1 origin "refs/heads/$BRANCH"; then
    if [ "$(git log -1 --format=%ae FETCH_HEAD)" != "$bot" ]; then
        echo "::warning::$BRANCH has commits of a maintainer, so this run does not change it"
        exit 0
    fi
    old=$(git rev-parse FETCH_HEAD)
else
    old=
fi
if [ -z "$old" ] || ! git diff --quiet "$old" HEAD -- trust_roots; then
    # The push fails if another commit arrived since the fetch.
    git push --quiet --force-with-lease="refs/heads/$BRANCH:$old" origin "HEAD:refs/heads/$BRANCH"
fi

# A fork may have a branch with this name; its pull request is not this one.
number=$(gh pr list --head "$BRANCH" --state open --json number,isCrossRepository \
    --jq 'map(select(.isCrossRepository | not))[0].number // empty')
if [ -n "$number" ]; then
    gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/pulls/$number" --field body=@"$work/body.md"
else
    gh pr create --head "$BRANCH" --base "$GITHUB_REF_NAME" --body-file "$work/body.md" \
        --title 'Add the authorities that Azure publishes to trust_roots'
fi

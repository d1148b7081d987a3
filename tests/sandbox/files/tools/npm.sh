#!/bin/sh -eu
# Packages of this directory, packed and installed without a network, one of them with a program and a script.
export npm_config_cache="$PWD/cache" npm_config_offline=true npm_config_audit=false npm_config_fund=false
export npm_config_update_notifier=false npm_config_loglevel=error
mkdir leaf tool app
echo '{ "name": "leaf", "version": "1.0.0", "main": "leaf.js" }' >leaf/package.json
echo 'module.exports = 42;' >leaf/leaf.js
cat >tool/package.json <<'END'
{ "name": "tool", "version": "1.0.0", "bin": { "tool": "tool.js" }, "peerDependencies": { "leaf": "1" },
  "scripts": { "postinstall": "node -e \"fs.writeFileSync('built', 'yes')\"" } }
END
printf '#!/usr/bin/env node\nconsole.log(require("leaf"), require("fs").readFileSync(__dirname + "/built", "utf8"));\n' >tool/tool.js
npm pack --silent ./leaf ./tool >/dev/null
cd app
echo '{ "name": "app", "version": "1.0.0" }' >package.json
npm install --silent ../leaf-1.0.0.tgz ../tool-1.0.0.tgz >/dev/null
[ "$(node_modules/.bin/tool)" = "42 yes" ]
npm ci --silent >/dev/null
[ "$(node_modules/.bin/tool)" = "42 yes" ]

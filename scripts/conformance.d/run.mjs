// Runs the client of http-cache-tests against one proxy, prints what passed, and compares with a baseline.
// Started by scripts/conformance, which installs the suite and starts the servers.
//
//   node run.mjs --suite DIR --base URL [--baseline FILE [--update]] [--choices FILE] [--json FILE]
//
// Exit status: 0 as the baseline says, 1 regression or a baseline entry without a reason, 2 the run itself failed.

import fs from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const { values: args } = parseArgs({
  options: {
    suite: { type: 'string' },
    base: { type: 'string' },
    baseline: { type: 'string' },
    choices: { type: 'string' },
    json: { type: 'string' },
    update: { type: 'boolean', default: false }
  }
})

// The kinds that a cache can fail. A `check` only records which of two permitted behaviours was seen.
const JUDGED = ['required', 'optimal']

const suiteModule = file => import(pathToFileURL(path.join(args.suite, file)).href)

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error)
  process.exitCode = 2
}

async function main () {
  // The suite's command line adds a file of tests for Surrogate-Control, a field that no RFC defines. They are left
  // out, as in the suite's own index.
  const { default: groups } = await suiteModule('tests/index.mjs')
  const { runTests, getResults } = await suiteModule('client/runner.mjs')
  const { determineTestResult } = await suiteModule('lib/display.mjs')
  const fetch = createRequire(pathToFileURL(path.join(args.suite, 'package.json')))('node-fetch')

  await runTests(groups, fetch, false, args.base)
  const results = getResults()
  const rows = groups.flatMap(group => group.tests)
    .filter(test => test.browser_only !== true)
    .map(test => ({
      id: test.id,
      kind: test.kind ?? 'required',
      ...outcome(determineTestResult(groups, test.id, results)[2]),
      detail: Array.isArray(results[test.id]) ? results[test.id].join(': ') : ''
    }))
  if (rows.length === 0) throw new Error('the suite ran no test')
  if (args.json) fs.writeFileSync(args.json, JSON.stringify(rows, null, 2) + '\n')

  report(rows)
  const judged = args.baseline ? compare(rows) : 0
  return (args.choices ? compareChoices(rows) : 0) || judged
}

// Compares the table of choices with what was seen. A row is | question | `test` `test` | yes or no | reason |.
function compareChoices (rows) {
  const written = new Map()
  for (const line of fs.readFileSync(args.choices, 'utf8').split('\n')) {
    const [, , tests, answer, reason] = line.split('|').map(cell => cell.trim())
    if (!['yes', 'no'].includes(answer) || !reason) continue
    for (const [, id] of tests.matchAll(/`([^`]+)`/g)) written.set(id, answer)
  }
  const checks = rows.filter(row => row.kind === 'check')
  const faults = []
  for (const row of checks) {
    const answer = row.passed ? 'yes' : 'no'
    if (!written.has(row.id)) faults.push(`${row.id} is answered ${answer} and has no row`)
    else if (written.get(row.id) !== answer) faults.push(`${row.id} is answered ${answer}`)
    written.delete(row.id)
  }
  for (const id of written.keys()) faults.push(`${id} is not a check of this suite`)
  for (const fault of faults) console.log(`${args.choices}: ${fault}`)
  console.log(`choices: ${checks.length} checks, ${faults.length} not as the table says`)
  return faults.length === 0 ? 0 : 1
}

// The suite tells its outcomes apart by the symbol it shows for them.
function outcome (symbol) {
  switch (symbol) {
    case '✅': return { passed: true, why: 'passed' }
    case 'Y': return { passed: true, why: 'yes' }
    case 'N': return { passed: false, why: 'no' }
    case '⛔️': return { passed: false, why: 'failed' }
    case '⚠️': return { passed: false, why: 'not optimal' }
    case '🔹': return { passed: false, why: 'set-up failed' }
    case '⚪️': return { passed: false, why: 'a test it depends on failed' }
    case '↻': return { passed: false, why: 'a request was sent again' }
    default: return { passed: false, why: `harness (${symbol})` }
  }
}

function report (rows) {
  for (const kind of [...JUDGED, 'check']) {
    const all = rows.filter(row => row.kind === kind)
    const failed = all.filter(row => !row.passed)
    const verb = kind === 'check' ? 'answered yes' : 'passed'
    console.log(`${kind}: ${all.length - failed.length} of ${all.length} ${verb}`)
    if (kind === 'check') {
      console.log(wrap(failed.map(row => row.id), '  not yes: '))
    } else {
      for (const row of failed) console.log(`  ${row.id}: ${row.why}${row.detail && ` (${row.detail})`}`)
    }
  }
}

function wrap (words, lead) {
  const lines = [lead.trimEnd()]
  for (const word of words) {
    if (lines.at(-1).length + word.length > 110) lines.push(' '.repeat(lead.length - 1))
    lines[lines.length - 1] += ` ${word}`
  }
  return lines.join('\n')
}

function compare (rows) {
  const baseline = JSON.parse(fs.readFileSync(args.baseline, 'utf8'))
  const known = baseline.failing
  const judged = rows.filter(row => JUDGED.includes(row.kind))
  const failed = judged.filter(row => !row.passed)

  if (args.update) return update(baseline, failed)

  const regressions = failed.filter(row => !(row.id in known))
  const surprises = judged.filter(row => row.passed && row.id in known)
  const unexplained = failed.filter(row => row.id in known && !known[row.id].reason)
  const unknown = Object.keys(known).filter(id => !judged.some(row => row.id === id))

  console.log('')
  for (const row of regressions) console.log(`regression: ${row.id} (${row.kind}) ${row.why}: ${row.detail}`)
  for (const row of unexplained) console.log(`baseline: ${row.id} has no reason; write one`)
  for (const id of unknown) console.log(`baseline: ${id} is not a required or optimal test of this suite; remove it`)
  for (const row of surprises) console.log(`passes now: ${row.id} (${row.kind}); run scripts/conformance --update`)
  const faults = [...regressions, ...unexplained, ...unknown]
  for (const kind of JUDGED) {
    const passed = judged.filter(row => row.kind === kind && row.passed).length
    const minimum = baseline.minimum[kind]
    if (passed >= minimum) continue
    console.log(`regression: ${passed} ${kind} tests passed; the baseline asks for at least ${minimum}`)
    faults.push(kind)
  }
  console.log(faults.length === 0
    ? `conformance: as the baseline says (${failed.length} known failures, ${surprises.length} new passes)`
    : `conformance: ${regressions.length} regressions, ${faults.length} faults in all`)
  return faults.length === 0 ? 0 : 1
}

// Rewrites the list of failures: reasons stay, tests that pass now go, new failures come in without a reason.
function update (baseline, failed) {
  const failing = {}
  for (const row of [...failed].sort((a, b) => order(a).localeCompare(order(b)))) {
    failing[row.id] = { kind: row.kind, reason: baseline.failing[row.id]?.reason ?? '' }
  }
  fs.writeFileSync(args.baseline, JSON.stringify({ ...baseline, failing }, null, 2) + '\n')
  const open = Object.keys(failing).filter(id => !failing[id].reason)
  console.log(`\nwrote ${args.baseline}: ${failed.length} failures, ${open.length} without a reason`)
  for (const id of open) console.log(`  ${id}: write why`)
  return 0
}

function order (row) {
  return `${JUDGED.indexOf(row.kind)} ${row.id}`
}

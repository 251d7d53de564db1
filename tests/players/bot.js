'use strict'
// A Minecraft player without a screen, driven by JSON lines: each line of standard input is one request, each line of
// standard output its answer {ok: true, ...} or {ok: false, error}. Ends when standard input does.
const readline = require('readline')
const mineflayer = require('mineflayer')
const { Digger } = require('./digger')

let bot
let digger

const waitFor = (emitter, event, ms) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${event} within ${ms} ms`)), ms)
  emitter.once(event, value => { clearTimeout(timer); resolve(value) })
})

// The block under the player's feet: the same one for everybody who joins a flat world at its spawn.
const place = request => bot.blockAt(request.at
  ? bot.entity.position.floored().set(request.at[0], request.at[1], request.at[2])
  : bot.entity.position.offset(0, -0.5, 0))

const describe = block => ({ block: block && block.name, at: block && block.position.toArray() })

const requests = {
  async join ({ name, host, port, version }) {
    bot = mineflayer.createBot({ username: name, host, port, version, auth: 'offline', hideErrors: true })
    const refused = new Promise((resolve, reject) => {
      bot.once('error', reject)
      bot.once('kicked', reason => reject(new Error(`kicked: ${JSON.stringify(reason)}`)))
      bot.once('end', reason => reject(new Error(`disconnected: ${reason}`)))
    })
    refused.catch(() => {})
    await Promise.race([waitFor(bot, 'spawn', 30000), refused])
    await Promise.race([bot.waitForChunksToLoad(), refused])
    return { name: bot.username, position: bot.entity.position.toArray() }
  },
  async look (request) {
    return describe(place(request))
  },
  async dig (request) {
    const block = place(request)
    await bot.dig(block, true)
    return describe(bot.blockAt(block.position))
  },
  async look_at_all ({ places }) {
    return { blocks: places.map(at => describe(place({ at })).block) }
  },
  // From now on it digs out those places one after another, then fills them with stone, and so on.
  async work ({ places, host, port, version }) {
    digger = new Digger(bot, { host, port, version })
    await digger.begin(places)
    return {}
  },
  async rest () {
    return await digger.end()
  },
  async leave () {
    const ended = waitFor(bot, 'end', 10000)
    bot.quit()
    await ended
    return {}
  }
}

const answer = message => process.stdout.write(JSON.stringify(message) + '\n')

readline.createInterface({ input: process.stdin, terminal: false }).on('line', async line => {
  try {
    const request = JSON.parse(line)
    answer({ ok: true, ...await requests[request.do](request) })
  } catch (error) {
    answer({ ok: false, error: String(error && error.message) })
  }
}).on('close', () => process.exit(0))

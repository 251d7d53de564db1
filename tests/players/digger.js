'use strict'
// A player who changes blocks without a pause, and of whom the game's own output tells the order of things: each change
// is announced there by a line with `begin-NAME-N` before it is asked for, and by one with `done-NAME-N` after the
// server has told somebody else of it. So whatever else the game printed came before, during or after that change, and
// no clock is needed to tell.
const { setTimeout: pause } = require('node:timers/promises')
const protocol = require('minecraft-protocol')

const TOP = 1
const STONE = 'stone'
const SLOT = 36
// Two lines a change: of more than 500 a second the keeper drops some, and none may be missed.
const PAUSE_MS = 15

class Digger {
  constructor (bot, { host, port, version }) {
    this.bot = bot
    this.waiting = new Map()
    // The server tells of a dig only those who did not do it. This one sees nothing else of the world.
    this.eye = protocol.createClient({ username: `${bot.username}_eye`, host, port, version, auth: 'offline' })
    this.eye.on('block_change', ({ location }) => this.arrived(`${location.x},${location.y},${location.z}`))
    this.eye.on('chat', ({ message }) => message.includes('Command not found') && this.arrived('answer'))
  }

  arrived (what) {
    this.waiting.get(what)?.()
    this.waiting.delete(what)
  }

  until (what) {
    const asked = performance.now()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} within 20 s`)), 20000)
      this.waiting.set(what, () => {
        clearTimeout(timer)
        this.longestMs = Math.max(this.longestMs, performance.now() - asked)
        resolve()
      })
    })
  }

  // An unknown command: its first word is printed before the answer to it is sent. Other chat is of who comes and goes.
  async say (word) {
    const answered = this.until('answer')
    this.eye.write('chat', { message: `/${word}` })
    await answered
  }

  async begin (places) {
    await new Promise((resolve, reject) => {
      this.eye.once('position', resolve)
      this.eye.once('end', reason => reject(new Error(`the eye was disconnected: ${reason}`)))
    })
    const Item = require('prismarine-item')(this.bot.registry)
    const stone = Item.toNotch(new Item(this.bot.registry.itemsByName[STONE].id, 64))
    this.bot._client.write('set_creative_slot', { slot: SLOT, item: stone })
    this.bot.setQuickBarSlot(0)
    this.isOver = false
    this.changes = []
    this.longestMs = 0
    this.work = this.keepDigging(places)
    this.work.catch(() => {}) // told by end()
  }

  async keepDigging (places) {
    for (let number = 0; !this.isOver; number++) {
      const [x, y, z] = places[number % places.length]
      const digs = Math.floor(number / places.length) % 2 === 0
      await this.say(`begin-${this.bot.username}-${number}`)
      const changed = this.until(`${x},${y},${z}`)
      if (digs) {
        this.bot._client.write('block_dig', { status: 0, location: { x, y, z }, face: TOP })
      } else {
        this.bot._client.write('block_place', {
          location: { x, y: y - 1, z }, direction: TOP, hand: 0, cursorX: 0.5, cursorY: 1, cursorZ: 0.5, insideBlock: false
        })
      }
      await changed
      this.changes.push({ at: [x, y, z], block: digs ? 'air' : STONE })
      await this.say(`done-${this.bot.username}-${number}`)
      await pause(PAUSE_MS)
    }
  }

  async end () {
    this.isOver = true
    await this.work
    this.eye.end()
    return { changes: this.changes, longestMs: this.longestMs }
  }
}

module.exports = { Digger }

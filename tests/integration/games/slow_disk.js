'use strict'
// Loaded before a game on Node: each of its writes takes this much longer, so that what happens in the midst of one can be tried.
const fs = require('fs')
const { setTimeout: pause } = require('node:timers/promises')
const PAUSE_MS = 5

const open = fs.promises.open
fs.promises.open = async (...wanted) => {
  const file = await open(...wanted)
  const write = file.write
  file.write = async (...what) => {
    await pause(PAUSE_MS)
    return write.apply(file, what)
  }
  return file
}

/**
 * Plots over time, in SVG: axes with units, a line for each series, and values where one points or walks with the arrow
 * keys.
 *
 * @module plot
 */

import {number} from "./format.js"
import {h, s} from "./dom.js"

const HEIGHT = 170, LEFT = 62, RIGHT = 10, TOP = 10, BOTTOM = 22
/** Lines across, at most, and labels of times: more of them would not be read. */
const LINES = 4, TIMES = 6
/** Between two times that are labelled: a round number of seconds. */
const STEPS_S = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200]

/** Round numbers of bytes are so many KiB, MiB, ...; of anything else, decimal ones. */
export const BYTES = 1024

/**
 * A plot.
 *
 * @param title what it shows, with its unit.
 * @param format a value, for people.
 * @param base round numbers on the axis are round in powers of this.
 * @param names of the series, in the order of their colours (`.line-0` ... in the style).
 * @returns `{box, draw}`; `draw({series, untilMs, stepS})` takes a list of numbers or nulls for each series.
 */
export function plot({title, format = number, base = 10, names}) {
  const svg = s("svg", {role: "img", tabindex: 0, height: HEIGHT, "aria-label": title})
  const told = h("output", {class: "told"})
  const legend = h("span", {class: "legend"}, names.length > 1
    ? names.map((name, at) => h("span", {class: `key line-${at}`}, name)) : null)
  const box = h("figure", {class: "plot"}, h("figcaption", {}, title, " ", legend, told), svg)
  let drawn = null, at = null

  function draw(given) {
    drawn = given
    const width = Math.max(240, svg.clientWidth || 600)
    const count = Math.max(2, ...given.series.map((values) => values.length))
    const values = given.series.flat().filter((value) => value !== null)
    const [top, step] = roundTop(Math.max(0, ...values), base)
    const x = (place) => LEFT + place / (count - 1) * (width - LEFT - RIGHT)
    const y = (value) => HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`)
    svg.setAttribute("aria-label", spoken(title, names, given.series, format))
    svg.replaceChildren(
      ...valueAxis(top, step, y, width, format),
      ...timeAxis(given, count, x),
      ...given.series.map((one, place) => s("path", {class: `line line-${place}`, d: pathOf(one, x, y)})),
      ...(at === null ? [] : [s("line", {class: "at", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM})]))
    told.textContent = at === null ? "" : read(given, count, at, names, format)
  }

  function point(place) {
    if (drawn === null) return
    const count = Math.max(2, ...drawn.series.map((values) => values.length))
    at = place === null ? null : Math.min(count - 1, Math.max(0, Math.round(place)))
    draw(drawn)
  }

  svg.addEventListener("pointermove", (event) => {
    if (drawn === null) return
    const {left, width} = svg.getBoundingClientRect()
    const count = Math.max(2, ...drawn.series.map((values) => values.length))
    point((event.clientX - left - LEFT) / (width - LEFT - RIGHT) * (count - 1))
  })
  svg.addEventListener("pointerleave", () => point(null))
  svg.addEventListener("blur", () => point(null))
  svg.addEventListener("keydown", (event) => {
    const by = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity}[event.key]
    if (by === undefined || drawn === null) return
    event.preventDefault()
    point((at ?? drawn.series[0].length - 1 - by) + by)
  })
  new ResizeObserver(() => { if (drawn !== null) draw(drawn) }).observe(box)
  return {box, draw}
}

/** A line without axes, as large as a word; what it shows is said by its label. */
export function sparkline(values, label) {
  const known = values.filter((value) => value !== null), top = Math.max(1e-9, ...known)
  const x = (place) => place / Math.max(1, values.length - 1) * 100, y = (value) => 19 - value / top * 18
  return s("svg", {class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img", "aria-label": label},
    s("path", {class: "line line-0", d: pathOf(values, x, y)}))
}

/** A line with gaps where nothing is known; a value between two gaps is a short stroke. */
function pathOf(values, x, y) {
  let path = "", isOpen = false
  values.forEach((value, at) => {
    if (value === null) { isOpen = false; return }
    const isAlone = !isOpen && (values[at + 1] ?? null) === null
    path += `${isOpen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${isAlone ? "h.1" : ""}`
    isOpen = true
  })
  return path
}

/** A round number that is no less, and how far apart the lines are. */
function roundTop(most, base) {
  if (most <= 0) return [1, 0.5]
  if (base !== 10) {
    const unit = base ** Math.max(0, Math.floor(Math.log(most) / Math.log(base)))
    return roundTop(most / unit, 10).map((value) => value * unit)
  }
  const power = 10 ** Math.floor(Math.log10(most / LINES))
  const step = [1, 2, 2.5, 5, 10].map((size) => size * power).find((size) => size * LINES >= most)
  return [Math.ceil(most / step - 1e-9) * step, step]
}

function valueAxis(top, step, y, width, format) {
  const lines = []
  for (let value = 0; value <= top * 1.001; value += step) {
    lines.push(s("line", {class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value)}),
      s("text", {x: LEFT - 6, y: y(value) + 4, "text-anchor": "end"}, format(value)))
  }
  return lines
}

function timeAxis({untilMs, stepS}, count, x) {
  const shownS = stepS * (count - 1)
  const everyS = STEPS_S.find((one) => shownS / one <= TIMES) ?? shownS / TIMES
  const fromS = untilMs / 1000 - shownS, offsetS = new Date(untilMs).getTimezoneOffset() * 60
  const marks = []
  for (let atS = Math.ceil((fromS - offsetS) / everyS) * everyS + offsetS; atS <= untilMs / 1000; atS += everyS) {
    const place = x((atS - fromS) / stepS)
    marks.push(s("text", {x: place, y: HEIGHT - 6, "text-anchor": "middle"}, clock(atS * 1000, everyS < 60)))
  }
  return marks
}

function clock(ms, hasSeconds) {
  const options = {hour: "2-digit", minute: "2-digit", ...(hasSeconds ? {second: "2-digit"} : {}), hour12: false}
  return new Date(ms).toLocaleTimeString([], options)
}

function read({series, untilMs, stepS}, count, at, names, format) {
  const when = clock(untilMs - (count - 1 - at) * stepS * 1000, true)
  return `${when}  ${series.map((values, place) => {
    const value = values[at] ?? null
    return `${names.length > 1 ? `${names[place]} ` : ""}${value === null ? "–" : format(value)}`
  }).join("  ")}`
}

/** What a reader hears who does not see it. */
function spoken(title, names, series, format) {
  const parts = series.map((values, at) => {
    const known = values.filter((value) => value !== null)
    if (!known.length) return `${names[at]}: nothing known`
    return `${names[at]}: now ${format(known.at(-1))}, at most ${format(Math.max(...known))}`
  })
  return `${title}. ${parts.join("; ")}. Arrow keys tell the values.`
}

/**
 * How far the replacement of the cluster's secret has come, as what the members accept tells it.
 *
 * One thing the members do not tell: whether the other secret that all accept is a new one that is to be used, or the
 * former one that is to be retired. So it takes the name of the secret that is to stay.
 *
 * @module replacement
 */

/**
 * How far a rotation has come.
 *
 * @param nodes by address, the names of the secrets that a member accepts, the one in use first; null of one that is away.
 * @param to the name of the secret that is to be used in the end, if known.
 * @returns `{away, uses, others, next}`: addresses of members that are away; names in use; all other names that are
 *     accepted; and what is next: "install", "use", "retire", or "choose" where that is not known.
 */
export function progress(nodes, to) {
  const away = Object.keys(nodes).filter((address) => nodes[address] === null).sort()
  const told = Object.values(nodes).filter((names) => names !== null)
  const uses = [...new Set(told.map(([used]) => used))]
  const others = [...new Set(told.flat())].filter((name) => !(uses.length === 1 && name === uses[0]))
  const known = told.some((names) => names.includes(to)) ? to : null
  return {away, uses, others, next: next(told, uses, others, known)}
}

function next(told, uses, others, to) {
  if (!others.length) return "install"
  if (to === null) return "choose"
  if (!told.every((names) => names.includes(to))) return "install"
  return uses.length === 1 && uses[0] === to ? "retire" : "use"
}

/** The same in a sentence. */
export function sentence({uses, others, next}, to) {
  const names = others.join(", ")
  if (!uses.length) return "No member answers."
  if (next === "install" && !others.length) {
    return to === uses[0] ? `Done: all members use ${to}, and accept no other secret.` : `All members use ${uses[0]}, `
      + `and accept no other secret.`
  }
  if (next === "choose") return `Somebody has begun to replace the secret: ${uses.join(", ")} is in use, ${names} is `
    + `accepted besides. Which is to stay?`
  if (next === "install") return `Not all members accept ${to} yet. Install again: another secret takes its place.`
  if (next === "use") return `All members accept ${to}. Next they use it.`
  return `All members use ${to}. ${names} is still accepted; next it is retired.`
}

/** Why no step may be taken now; empty if it may. */
export function hindrance({away}, registry) {
  if (away.length) {
    return `No step can be taken while ${away.join(", ")} does not answer: it would not know the new secret when it `
      + `comes back. `
      + "Start it, or strike it out under Members and let it join anew later. What was done so far does no harm."
  }
  if (registry.changing) return "A member joins or leaves; the next step can be taken when that is over."
  return ""
}

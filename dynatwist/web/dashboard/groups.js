/** The groups of users, which rules of tables name. @module groups */

import {confirmed, field, h, row, table} from "./dom.js"
import {counted, within} from "./format.js"
import {paged, redraw} from "./listed.js"
import {acts, button, entry, goAndSay, segment} from "./telling.js"

export const title = "Groups"
/** Groups of a page: some screens. */
const PAGE_GROUPS = 100
/** The group whose members are administrators. */
const ADMINS = "admins"
const at = (name) => `/admin/groups/${segment(name)}`

export async function show(place, page) {
  const name = page.parts[1]
  if (name) await showOne(place, page, name)
  else await showAll(place, page)
}

async function showAll(place, page) {
  const {box, body} = table("Groups", ["Name", "Members"])
  const none = h("p", {class: "hint", hidden: true}, "There are no groups yet.")
  const list = paged(page, async (after) => {
    const found = await page.call("GET", `/admin/groups?${new URLSearchParams({after, limit: PAGE_GROUPS})}`)
    return {items: found.groups, next: found.next_after}
  }, (groups) => {
    none.hidden = groups.length > 0
    redraw(body, groups, (one) => one.group, ({group, members}) => row(
      h("a", {href: page.at(page.name, ["groups", group])}, group), some(members)))
  })
  const name = h("input", {id: "new-group", required: true, autocomplete: "off", spellcheck: "false"})
  place.append(h("h1", {class: "unseen"}, title), none, box, list.more,
    entry(page, {class: "card", id: "create-group"}, async () => {
      if (await held(page, name.value) === null) await set(page, name.value, [])
      page.go(page.name, ["groups", name.value])
    }, h("h2", {}, "Make a group"),
    field("Name", name, `Members of a group ${ADMINS} are administrators, under their own names.`),
    h("button", {class: "main"}, "Make")))
  await list.begin()
}

/** Some names, and how many more. */
function some(members) {
  const shown = members.slice(0, 8), rest = members.length - shown.length
  return `${shown.join(", ") || "nobody"}${rest ? `, and ${counted(rest, "more", "more")}` : ""}`
}

/** The members that a group has now; `null` if there is no such group. */
async function held(page, name) {
  try {
    return (await page.call("GET", at(name))).members
  } catch (error) {
    if (error.status === 404) return null
    throw error
  }
}

/** These and no others; naming all of them, it may be repeated. */
async function set(page, name, members) {
  return (await page.call("PUT", at(name), {members}, {repeatable: true})).members
}

async function showOne(place, page, name) {
  const {box, body} = table(`Members of ${within(name)}`, ["Member", acts()])
  const nobody = h("p", {class: "hint", hidden: true}, "Nobody is in this group.")
  const draw = (members) => {
    nobody.hidden = members.length > 0
    redraw(body, members, (one) => one, (member) => row(
      h("a", {href: page.at(page.name, ["users", member])}, member),
      button(page, "Take out", () => take(member), {"aria-label": `Take out ${member}`})))
  }
  const member = h("input", {id: "new-member", required: true, autocomplete: "off", spellcheck: "false"})

  async function take(one) {
    if (name === ADMINS && !await confirmed({title: `Take ${within(one)} out of ${ADMINS}?`, does: "Take out",
      text: `${within(one)} is no administrator any more, on every node, within a second.`})) return
    draw(await set(page, name, (await held(page, name) ?? []).filter((other) => other !== one)))
    page.say(`${within(one)} is in ${within(name)} no more.`)
  }

  async function add() {
    const one = member.value
    if (name === ADMINS && !await confirmed({title: `Make ${within(one)} an administrator?`, does: "Make an administrator",
      text: `${within(one)} may then read and change every record, and change users, rules and secrets.`})) return
    draw(await set(page, name, [...(await held(page, name) ?? []), one]))
    member.value = ""
    member.focus()
    page.say(`${within(one)} is in ${within(name)}.`)
  }

  place.append(h("h1", {class: "named"}, name))
  const members = await held(page, name)
  if (members === null) {
    place.append(h("p", {}, "There is no group of this name."),
      h("a", {href: page.at(page.name, ["groups"])}, "All groups"))
    return
  }
  if (name === ADMINS) place.append(h("p", {class: "warn"}, "Its members are administrators."))
  place.append(nobody, box,
    entry(page, {class: "card", id: "add-member"}, add, h("h2", {}, "Add a member"), field("Name", member,
      "A name that nobody has yet may be added: it counts from when somebody has it."),
    h("button", {class: "main"}, "Add")),
    deletion(page, name))
  draw(members)
}

function deletion(page, name) {
  return button(page, `Delete the group ${within(name)}`, async () => {
    const text = `Rules of tables that name ${within(name)} mean nobody by that from then on. Users and records stay.`
    if (!await confirmed({title: `Delete the group ${within(name)}?`, text, does: "Delete"})) return
    await page.call("DELETE", at(name), undefined, {repeatable: true})
    goAndSay(page, ["groups"], `The group ${within(name)} is deleted.`)
  }, {id: "delete-group", class: "danger"})
}

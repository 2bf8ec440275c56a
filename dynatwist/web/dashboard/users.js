/** The users: who there is, and what an administrator does about them. @module users */

import {confirmed, field, h, row, table} from "./dom.js"
import {within} from "./format.js"
import {before, everything, paged, redraw} from "./listed.js"
import {button, entry, form, goAndSay, segment} from "./telling.js"

export const title = "Users"
/** Users of a page: some screens. */
const PAGE_USERS = 100
/** As the node counts: shorter secrets are refused. */
const LEAST_SECRET = 8
const at = (name, rest = "") => `/admin/users/${segment(name)}${rest}`

/** A field for another secret. */
function secretField(label) {
  const input = h("input", {type: "password", autocomplete: "new-password", required: true, minlength: LEAST_SECRET})
  return {input, shown: field(label, input, `At least ${LEAST_SECRET} characters.`)}
}

export async function show(place, page) {
  const name = page.parts[1]
  if (name) await showOne(place, page, name)
  else await showAll(place, page)
}

async function showAll(place, page) {
  const {box, body} = table("Users", ["Name", "What may they do?"])
  const nobody = h("p", {class: "hint", hidden: true})
  const search = h("input", {type: "search", value: page.query.get("prefix") ?? "", oninput: () => {
    page.note({prefix: search.value})
    page.guarded(list.begin)
  }})
  const list = paged(page, async (after) => {
    const prefix = search.value
    const asked = new URLSearchParams({after: after || before(prefix), limit: PAGE_USERS})
    const found = await page.call("GET", `/admin/users?${asked}`)
    const items = found.users.map((user) => user.name).filter((name) => name.startsWith(prefix))
    return {items, next: items.length === found.users.length ? found.next_after : null}
  }, (names) => {
    redraw(body, names, (name) => name, (name) => row(
      h("a", {href: page.at(page.name, ["users", name])}, name),
      h("a", {href: page.at(page.name, ["rights"], {user: name}), "aria-label": `Rights of ${name}`}, "Rights")))
    nobody.hidden = names.length > 0
    nobody.textContent = search.value ? "No user's name begins so." : "There are no users yet."
  })
  place.append(h("h1", {class: "unseen"}, title),
    h("div", {class: "bar"}, field("Name begins with", search)), nobody, box, list.more, newUser(page))
  await list.begin()
}

function newUser(page) {
  const name = h("input", {id: "new-user", required: true, autocomplete: "off", spellcheck: "false"})
  const secret = secretField("Secret")
  return entry(page, {class: "card", id: "create-user"}, async () => {
    await page.call("PUT", at(name.value), {secret: secret.input.value})
    goAndSay(page, ["users", name.value], `${within(name.value)} can log in now.`)
  }, h("h2", {}, "Make a user"), field("Name", name), secret.shown, h("button", {class: "main"}, "Make"))
}

async function showOne(place, page, name) {
  const found = await page.call("GET", `/admin/users?${new URLSearchParams({after: before(name), limit: 1})}`)
  place.append(h("h1", {class: "named"}, name))
  if (found.users[0]?.name !== name) {
    place.append(h("p", {}, "There is no user of this name."), h("a", {href: page.at(page.name)}, "All users"))
    return
  }
  const groups = await everything(async (after) => {
    const {groups: items, next_after: next} = await page.call("GET", `/admin/groups?${new URLSearchParams({after})}`)
    return {items, next}
  })
  const mine = groups.filter((one) => one.members.includes(name)).map((one) => one.group)
  place.append(h("div", {class: "cards"},
    h("section", {class: "card"}, h("h2", {}, "Groups"), mine.length
      ? h("ul", {}, mine.map((group) => h("li", {}, h("a", {href: page.at(page.name, ["groups", group])}, group))))
      : h("p", {class: "hint"}, `${within(name)} is in no group.`)),
    rightsForm(page, name), sessions(page, name), change(page, name), deletion(page, name)))
}

function rightsForm(page, name) {
  const where = h("input", {required: true, autocomplete: "off"})
  return form(page, {class: "card"}, async () => page.go(page.name, ["rights"], {user: name, table: where.value}),
    h("h2", {}, `What may ${within(name)} do?`), field("In the table", where), h("button", {}, "Ask"))
}

function sessions(page, name) {
  return h("section", {class: "card"}, h("h2", {}, "Sessions"),
    h("p", {}, `All tokens of ${within(name)} stop working, on every node. ${within(name)} can log in again.`),
    button(page, "End all sessions", async () => {
      await page.call("POST", at(name, "/logout"), {}, {repeatable: true})
      page.say(`${within(name)} is logged out everywhere.`)
    }, {id: "end-sessions"}))
}

function change(page, name) {
  const secret = secretField("New secret")
  const made = entry(page, {class: "card", id: "change-secret"}, async () => {
    await page.call("PUT", `/auth/${segment(name)}/secret`, {secret: secret.input.value}, {repeatable: true})
    made.reset()
    page.say(`${within(name)} has another secret, and is logged out everywhere.`)
  }, h("h2", {}, "Secret"), h("p", {}, "The old one is not needed. It ends with all sessions."), secret.shown,
  h("button", {}, "Change the secret"))
  return made
}

function deletion(page, name) {
  return h("section", {class: "card"}, h("h2", {}, "Delete"),
    h("p", {}, `${within(name)} can log in no more. The records of ${within(name)} stay.`),
    button(page, `Delete ${within(name)}`, async () => {
      const text = [
        h("p", {}, `All sessions of ${within(name)} end at once, on every node, and the name is free for whoever comes next.`),
        h("p", {}, `The records that ${within(name)} owns stay: only administrators can change them, also when somebody takes `
          + `the name again.`)]
      if (!await confirmed({title: `Delete ${within(name)}?`, text, does: "Delete"})) return
      await page.call("DELETE", at(name), undefined, {repeatable: true})
      goAndSay(page, ["users"], `${within(name)} is deleted.`)
    }, {id: "delete-user", class: "danger"}))
}

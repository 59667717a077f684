// Renews the content of a page that says so (data-live: seconds), unless nobody looks or somebody is at work in it.
'use strict'

const seconds = Number(document.body.dataset.live || 0)

const isBusy = () => {
  const at = document.activeElement
  return document.hidden || !document.getSelection().isCollapsed || (at && at.id !== 'main' && at.closest('main'))
}

const renew = async () => {
  if (isBusy()) return
  const old = document.querySelector('main')
  try {
    const answer = await fetch(location.href, { headers: { Accept: 'text/html' } })
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('main')
    if (!answer.ok || !fresh) throw new Error(String(answer.status))
    const open = [...old.querySelectorAll('details')].map((each) => each.open)
    fresh.querySelectorAll('details').forEach((each, place) => { each.open = Boolean(open[place]) })
    if (!isBusy()) old.replaceChildren(...fresh.childNodes)
    document.body.classList.remove('lost')
  } catch {
    document.body.classList.add('lost')
  }
}

if (seconds) setInterval(renew, 1000 * seconds)

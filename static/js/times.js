// Shows times in the reader's time zone and format. Without this script they are in the server's.
//
//   time[data-moment]   written by the filter `moment`; "time" there leaves the day out

const SHOWN = { "": { dateStyle: "medium", timeStyle: "short" }, time: { timeStyle: "short" } };

/** A moment in words; `what` as in data-moment. */
export function moment(date, what = "") {
  return new Intl.DateTimeFormat(navigator.language, SHOWN[what]).format(date);
}

function show(root) {
  for (const time of root.querySelectorAll("time[data-moment]")) {
    time.textContent = moment(new Date(time.dateTime), time.dataset.moment);
  }
}

show(document);
document.addEventListener("htmx:load", (event) => show(event.detail.elt));

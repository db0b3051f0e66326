/** Pages further than this aren't served; an endless list goes on. */
const lastPage = 100

export function pageCount(total: number, limit: number): number {
  return Math.min(lastPage, Math.max(1, Math.ceil(total / limit)))
}

/** Which numbers a pager offers: the first, the last, and those around the page. 0 stands for a gap. */
export function pageNumbers(page: number, pages: number): number[] {
  const numbers: number[] = []
  for (let n = 1; n <= pages; n++) {
    const near = Math.abs(n - page) <= 1 || n === 1 || n === pages
    // A gap of one number is that number.
    const bridges = (n === 2 && page === 4) || (n === pages - 1 && page === pages - 3)
    if (near || bridges) numbers.push(n)
    else if (numbers.at(-1) !== 0) numbers.push(0)
  }
  return numbers
}

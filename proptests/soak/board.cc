#include "board.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <iterator>

namespace thole::soak {

void Board::AddFinding(const char* text) {
  const uint32_t index = words.fetch_add(1);
  if (index >= std::size(findings)) return;
  std::snprintf(findings[index].text, sizeof(findings[index].text), "%s", text);
  findings[index].written.store(1);
}

SharedBoard::SharedBoard(uint32_t streams) : bytes_(sizeof(Board) + streams * sizeof(Stream)) {
  void* page = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    std::perror("no memory for the ledger");
    std::abort();
  }
  // Zero, which is what both begin with.
  board_ = static_cast<Board*>(page);
  void* behind = static_cast<std::byte*>(page) + sizeof(Board);
  streams_ = static_cast<Stream*>(behind);
}

SharedBoard::~SharedBoard() { munmap(board_, bytes_); }

}  // namespace thole::soak

#include "machine.h"

#include <cstdio>

namespace thole::proptests {

void Reply::Say(const std::string& what) { std::snprintf(text, sizeof(text), "%s", what.c_str()); }

void Reply::Break(const std::string& what) {
  if (!broken) Say(what);
  broken = true;
}

}  // namespace thole::proptests

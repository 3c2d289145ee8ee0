// Must not compile, with a message that says why: see CMakeLists.txt.
#include <string>

#include "thole/queue/persistent_queue.h"

thole::queue::PersistentQueue<std::string> queue;

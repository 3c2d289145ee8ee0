// What the answers of the registry must be, by the model of entries; and a participant that asks.
#pragma once

#include <string>
#include <vector>

#include "machine.h"
#include "registry_model.h"

namespace thole::proptests {

/// Words of an order, and of the reply to it.
enum RegistryCall : uint32_t {
  kCreateBuffer = kFirstOwnCall,  // name, handle, size, ephemeral  -> content
  kAcquire,                       // name, handle                   -> content, size
  kRelease,                       // handle                         -> content
  kRemove,                        // name
  kLookup,                        // name                           -> holders, size, ephemeral
  kList,                          // -> number; then ListedEntry of each
};
inline constexpr int kBlocksWord = 5;  // of every reply: what the heap has in use
inline constexpr int kListWord = 8;    // where the entries of a list begin, a word for each
/// An entry in one word, so that two lists can be compared.
constexpr uint64_t ListedEntry(uint64_t name, uint64_t size_bytes, uint64_t holders, bool removed,
                               bool ephemeral) {
  return name | size_bytes << 8 | holders << 40 | uint64_t{removed} << 48 |
         uint64_t{ephemeral} << 49;
}

Subject RegistrySubject();

struct RegistryLaws {
  static constexpr bool kMayTakeEffectLater = true;  // readers see a change when it is settled
  static constexpr size_t kHandlesMax = 12;
  RegistryModel model;
  bool operator==(const RegistryLaws&) const = default;

  bool Resolve(int life, Order& order, uint64_t fresh) const;
  std::string Accept(int life, const Order& order, const Reply& reply, bool quiet);
  std::vector<RegistryLaws> Outcomes(int life, const Order& order, bool quiet) const;
  void Gone(const std::vector<int>& lives) { model.Gone(lives); }
  bool NextOfFinish(int life, Order& order, uint64_t fresh) const;
  bool LastLook(uint64_t number, Order& order, uint64_t fresh) const;

 private:
  std::string AcceptLookup(const Order& order, const Reply& reply, bool quiet);
  std::string AcceptList(const Reply& reply) const;
};

}  // namespace thole::proptests

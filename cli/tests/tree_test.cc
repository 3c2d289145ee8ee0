#include "demo/tree.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace thole::cli::demo {
namespace {

namespace fs = std::filesystem;

class TreeTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_ + "/sub/deep"); }
  void TearDown() override { fs::remove_all(folder_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }
  const std::string folder_ = testing::TempDir() + "thole-tree-" + std::to_string(getpid());
};

TEST_F(TreeTest, RegularFilesAreSortedAndNothingElseIsListed) {
  Write("z", "12345");
  Write("a", "");
  Write("sub/deep/m", "12");
  fs::create_symlink(folder_, folder_ + "/sub/loop");
  fs::create_symlink(folder_ + "/z", folder_ + "/link");
  ASSERT_EQ(mkfifo((folder_ + "/fifo").c_str(), 0600), 0);
  const auto tree = ListTree(folder_);
  ASSERT_TRUE(tree.ok()) << tree.status();
  ASSERT_EQ(tree->files.size(), 3u);
  EXPECT_EQ(tree->files[0].path, folder_ + "/a");
  EXPECT_EQ(tree->files[1].path, folder_ + "/sub/deep/m");
  EXPECT_EQ(tree->files[1].size_bytes, 2u);
  EXPECT_EQ(tree->files[2].size_bytes, 5u);
  EXPECT_TRUE(tree->unreadable.empty());
}

TEST_F(TreeTest, AFolderThatIsNoneSaysWhatItIs) {
  Write("file", "x");
  EXPECT_TRUE(absl::IsNotFound(ListTree(folder_ + "/none").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ListTree(folder_ + "/file").status()));
  EXPECT_FALSE(ListTree(std::string("a\0b", 3)).ok());
}

TEST_F(TreeTest, AListedFileThatChangedIsNotOpened) {
  Write("f", "before");
  const TreeFile listed = ListTree(folder_)->files.at(0);
  const auto open = [&] {
    return OpenFile::AsListed(listed.path, listed.size_bytes, listed.modified_ns);
  };
  const OpenFile file = open();
  ASSERT_TRUE(file);
  std::byte bytes[6];
  EXPECT_TRUE(file.ReadAt(0, bytes, 6));
  EXPECT_FALSE(file.ReadAt(1, bytes, 6)) << "there is no seventh byte";
  EXPECT_TRUE(file.StillAsListed());
  Write("f", "afterwards");
  EXPECT_FALSE(file.StillAsListed());
  EXPECT_FALSE(open());
  fs::remove(listed.path);
  ASSERT_EQ(mkfifo(listed.path.c_str(), 0600), 0);
  EXPECT_FALSE(open()) << "and it did not wait for a writer";
}

}  // namespace
}  // namespace thole::cli::demo

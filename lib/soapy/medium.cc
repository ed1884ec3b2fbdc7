/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "medium.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>

namespace gr::diffusion::soapy {

namespace {

constexpr uint64_t magic = 0x6f69646172667267; // "grfradio"
constexpr uint32_t layout = 2;
constexpr off_t user_byte = 0, air_byte = 100, listener_byte = 200;

std::string prefix() { return "gr-diffusion-" + std::to_string(::getuid()) + "-"; }

int64_t monotonic_ns()
{
    timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

bool lock_file(int file, short type, off_t byte, bool wait)
{
    struct flock request = {};
    request.l_type = type;
    request.l_whence = SEEK_SET;
    request.l_start = byte;
    request.l_len = 1;
    int result;
    do {
        result = ::fcntl(file, wait ? F_OFD_SETLKW : F_OFD_SETLK, &request);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

const std::string remedy =
    "make room there, or let GR_DIFFUSION_SHM name another folder, the same for all programs";

/*! Media of this process. Programs that end without closing their devices leave no segment either: at exit
 *  only its name is removed, what is mapped stays, for threads that still run. */
struct living {
    std::mutex mutex;
    std::map<int, std::string> paths; //!< by file
    const pid_t process = ::getpid();

    static living& get()
    {
        static living* const all = [] { // never destroyed: devices may be closed after it would be
            std::atexit([] { get().leave(); });
            return new living;
        }();
        return *all;
    }
    void leave()
    {
        if (::getpid() != process) // a fork shares its parent's locks
            return;
        std::lock_guard<std::mutex> lock(mutex);
        for (const auto& [file, path] : paths) {
            if (lock_file(file, F_WRLCK, user_byte, false))
                ::unlink(path.c_str());
            else // another device of this process, or another process, is the last
                lock_file(file, F_UNLCK, user_byte, false);
        }
        paths.clear();
    }
};

[[noreturn]] void fail(const std::string& path, const std::string& what)
{
    throw std::runtime_error("virtual radio: shared memory " + path + " " + what);
}

} // namespace

struct medium::header {
    uint64_t magic;
    uint32_t layout;
    std::atomic<uint32_t> pace; //!< a pacing
    int64_t epoch_ns;
    air airs[max_air];
    listener listeners[max_listeners];
};

static_assert(std::atomic<double>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "shared between processes");

namespace {
constexpr size_t header_space = size_t(1) << 17;
constexpr uint64_t least_room = uint64_t(16) << 20;
}

medium::medium(const std::string& name) : d_my_air(max_air), d_my_listeners(max_listeners)
{
    static_assert(sizeof(header) <= header_space);
    if (name.empty() || name.size() > 64 ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
            std::string::npos)
        throw std::runtime_error("virtual radio: medium is '" + name +
                                 "', use 1 to 64 letters, digits, dots, hyphens and underscores");
    d_path = folder() + "/" + prefix() + name;
    d_size = header_space + max_air * ring_size * sizeof(std::complex<float>);

    for (int attempt = 0; d_file < 0; attempt++) {
        const int file = ::open(d_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (file < 0)
            fail(d_path, std::string("cannot be opened: ") + std::strerror(errno));
        // Alone: whatever is in it was left by the dead, so it starts anew.
        const bool alone = lock_file(file, F_WRLCK, user_byte, false);
        if (!alone)
            lock_file(file, F_RDLCK, user_byte, true);
        struct stat status;
        if (::fstat(file, &status) != 0 || status.st_nlink == 0) { // removed between open and lock
            ::close(file);
            if (attempt > 100)
                fail(d_path, "comes and goes; try again");
            continue;
        }
        // The header's pages now: on a full disk they must be an error here, not a SIGBUS when they are
        // touched.
        if (alone && (::ftruncate(file, 0) != 0 || ::ftruncate(file, off_t(d_size)) != 0 ||
                      ::posix_fallocate(file, 0, off_t(header_space)) != 0)) {
            ::unlink(d_path.c_str());
            ::close(file);
            fail(d_path, "cannot be made: no room; " + remedy);
        }
        if (!alone && size_t(status.st_size) != d_size) {
            ::close(file);
            fail(d_path, "is another version's; end its users or choose another medium");
        }
        void* address = ::mmap(nullptr, d_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (address == MAP_FAILED) {
            ::close(file);
            fail(d_path, std::string("cannot be mapped: ") + std::strerror(errno));
        }
        d_header = static_cast<header*>(address);
        if (alone) { // the file is all zero, which is what silent rings and absent listeners are
            d_header->layout = layout;
            d_header->epoch_ns = monotonic_ns();
            d_header->magic = magic;
            lock_file(file, F_RDLCK, user_byte, true); // converts: others come in
        } else if (d_header->magic != magic || d_header->layout != layout) {
            ::munmap(address, d_size);
            ::close(file);
            fail(d_path, "is another version's; end its users or choose another medium");
        }
        d_file = file;
    }
    living& all = living::get();
    std::lock_guard<std::mutex> lock(all.mutex);
    all.paths[d_file] = d_path;
}

medium::~medium()
{
    living& all = living::get();
    std::lock_guard<std::mutex> guard(all.mutex);
    const bool exiting = all.paths.erase(d_file) == 0; // then its name is gone, or another's by now
    for (int i = 0; i < max_air; i++)
        release_air(i);
    for (int i = 0; i < max_listeners; i++)
        release_listener(i);
    if (!exiting && lock(F_WRLCK, user_byte, false)) // nobody else: the last one cleans up
        ::unlink(d_path.c_str());
    ::munmap(d_header, d_size);
    ::close(d_file);
}

void medium::clean()
{
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder(), ignored)) {
        if (entry.path().filename().string().rfind(prefix(), 0) != 0)
            continue;
        const int file = ::open(entry.path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (file < 0)
            continue;
        if (lock_file(file, F_WRLCK, user_byte, false))
            ::unlink(entry.path().c_str());
        ::close(file);
    }
}

int64_t medium::clock_ns() const { return monotonic_ns() - d_header->epoch_ns; }
pacing medium::pace() const { return pacing(d_header->pace.load(std::memory_order_relaxed)); }
void medium::set_pace(pacing pace) { d_header->pace.store(uint32_t(pace)); }

int64_t medium::latest_listener_ns() const
{
    int64_t latest = 0;
    for (int i = 0; i < max_listeners; i++)
        if (listening(i).active.load() && listener_alive(i))
            latest = std::max(latest, listening(i).time_ns.load());
    return latest;
}

std::string medium::folder()
{
    if (const char* given = std::getenv("GR_DIFFUSION_SHM"); given && *given)
        return given;
    struct statvfs status;
    const std::string usual = "/dev/shm";
    // By its size, not by what is free: all programs of a machine come to the same answer at any time.
    if (::statvfs(usual.c_str(), &status) != 0 ||
        (status.f_blocks > 0 && uint64_t(status.f_blocks) * status.f_frsize < least_room))
        return "/tmp";
    return usual;
}

bool medium::lock(short type, off_t byte, bool wait) const { return lock_file(d_file, type, byte, wait); }

bool medium::held(off_t byte) const
{
    struct flock request = {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_start = byte;
    request.l_len = 1;
    return ::fcntl(d_file, F_OFD_GETLK, &request) == 0 && request.l_type != F_UNLCK;
}

int medium::claim_air()
{
    for (int i = 0; i < max_air; i++) {
        if (d_my_air[i] || !lock(F_WRLCK, air_byte + i, false))
            continue;
        // Reserved now: a full /dev/shm (64 MB in many containers) must be an error here, not a SIGBUS later.
        const size_t bytes = ring_size * sizeof(std::complex<float>);
        if (::posix_fallocate(d_file, off_t(header_space + i * bytes), off_t(bytes)) != 0) {
            lock(F_UNLCK, air_byte + i, false);
            fail(d_path, "has no room for a transmitter's 8 MiB; " + remedy);
        }
        d_my_air[i] = true;
        air& a = on_air(i);
        a.active = 0; // an owner that was killed left it on, or half written
        a.version.fetch_and(~1u);
        a.bursts = 0;
        a.path_loss_db = a.delay_ns = a.doppler_hz = 0;
        a.tap_count = a.profile_count = 0;
        a.way_version.fetch_add(1);
        a.generation.fetch_add(1);
        return i;
    }
    return -1;
}

void medium::release_air(int i)
{
    if (i < 0 || !d_my_air[i])
        return;
    on_air(i).active = 0;
    lock(F_UNLCK, air_byte + i, false);
    d_my_air[i] = false;
}

int medium::claim_listener()
{
    for (int i = 0; i < max_listeners; i++) {
        if (d_my_listeners[i] || !lock(F_WRLCK, listener_byte + i, false))
            continue;
        d_my_listeners[i] = true;
        listening(i).active = 0;
        return i;
    }
    return -1;
}

void medium::release_listener(int i)
{
    if (i < 0 || !d_my_listeners[i])
        return;
    listening(i).active = 0;
    lock(F_UNLCK, listener_byte + i, false);
    d_my_listeners[i] = false;
}

bool medium::air_alive(int i) const { return d_my_air[i] || held(air_byte + i); }
bool medium::listener_alive(int i) const { return d_my_listeners[i] || held(listener_byte + i); }
air& medium::on_air(int i) const { return d_header->airs[i]; }
listener& medium::listening(int i) const { return d_header->listeners[i]; }

std::complex<float>* medium::ring(int i) const
{
    auto* rings = reinterpret_cast<std::complex<float>*>(reinterpret_cast<char*>(d_header) + header_space);
    return rings + size_t(i) * ring_size;
}

} // namespace gr::diffusion::soapy

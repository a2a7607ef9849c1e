# SPDX-License-Identifier: MIT
# The names under which mkfs(8), mount(8), umount(8) and fstab find the program, in the build tree and when installed.
include(GNUInstallDirs)

set(links mkfs.foldfs mount.foldfs mount.fuse.foldfs umount.foldfs umount.fuse.foldfs)
set(commands)
foreach(link ${links})
    list(APPEND commands COMMAND ${CMAKE_COMMAND} -E create_symlink foldfs ${PROJECT_BINARY_DIR}/${link})
endforeach()
add_custom_target(foldfs_links ALL ${commands} VERBATIM)

install(TARGETS foldfs RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
file(RELATIVE_PATH target /prefix/${CMAKE_INSTALL_SBINDIR} /prefix/${CMAKE_INSTALL_BINDIR}/foldfs)
foreach(link ${links})
    install(CODE "set(sbin \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}\")
        file(MAKE_DIRECTORY \"\${sbin}\")
        file(CREATE_LINK \"${target}\" \"\${sbin}/${link}\" SYMBOLIC)")
endforeach()
file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.8)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)

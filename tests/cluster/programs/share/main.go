// A node's driver of Azure Files without Azure: a volume is a folder of this machine.
//
// It has the name of the real one and is told the same: shareName and folderName as volume attributes, uid, gid and
// dir_mode as mount options. As over SMB, a folder that is not there cannot be mounted, and everything in a mounted one
// belongs to whom the options name, whoever made it.
package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const driver = "file.csi.azure.com"

func main() {
	node := flag.String("node", "", "name of the node")
	shares := flag.String("shares", "", "folder that holds a folder for each share")
	kubelet := flag.String("kubelet", "", "the kubelet's folder (--root-dir)")
	flag.Parse()

	plugin := filepath.Join(*kubelet, "plugins", driver, "csi.sock")
	volumes := grpc.NewServer()
	csi.RegisterIdentityServer(volumes, identity{})
	csi.RegisterNodeServer(volumes, &shareNode{name: *node, shares: *shares})
	go serve(volumes, plugin)

	// The kubelet looks into this folder for plugins that have come.
	registrar := grpc.NewServer()
	registration.RegisterRegistrationServer(registrar, &registrationServer{endpoint: plugin})
	serve(registrar, filepath.Join(*kubelet, "plugins_registry", driver+"-reg.sock"))
}

func serve(server *grpc.Server, path string) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		log.Fatal(err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(listener))
}

type registrationServer struct {
	registration.UnsafeRegistrationServer
	endpoint string
}

func (s *registrationServer) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: driver, Endpoint: s.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (s *registrationServer) NotifyRegistrationStatus(
	_ context.Context, told *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !told.PluginRegistered {
		log.Fatalf("the kubelet did not take the driver: %s", told.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driver, VendorVersion: "stand-in"}, nil
}

func (identity) GetPluginCapabilities(
	context.Context, *csi.GetPluginCapabilitiesRequest,
) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

type shareNode struct {
	csi.UnimplementedNodeServer
	name, shares string
}

func (n *shareNode) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.name}, nil
}

func (n *shareNode) NodeGetCapabilities(
	context.Context, *csi.NodeGetCapabilitiesRequest,
) (*csi.NodeGetCapabilitiesResponse, error) {
	var all []*csi.NodeServiceCapability
	// What the real driver says of itself and what bears on a share for one pod.
	for _, one := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER, csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP,
	} {
		all = append(all, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: one}},
		})
	}
	return &csi.NodeGetCapabilitiesResponse{Capabilities: all}, nil
}

func (n *shareNode) NodePublishVolume(
	_ context.Context, asked *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	attributes := asked.GetVolumeContext()
	share, folder := attributes["shareName"], attributes["folderName"]
	if share == "" || folder == "" || attributes["storageAccount"] == "" {
		return nil, status.Error(codes.InvalidArgument, "storageAccount, shareName and folderName are needed")
	}
	source := filepath.Join(n.shares, share, folder)
	if _, err := os.Stat(source); err != nil {
		return nil, status.Errorf(codes.Internal, "mount error(2): No such file or directory: //%s/%s", share, folder)
	}
	mount := asked.GetVolumeCapability().GetMount()
	if err := own(source, mount.GetMountFlags(), mount.GetVolumeMountGroup()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	target := asked.GetTargetPath()
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if isMounted(target) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
		return nil, status.Errorf(codes.Internal, "%s cannot be mounted: %v", source, err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *shareNode) NodeUnpublishVolume(
	_ context.Context, asked *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	target := asked.GetTargetPath()
	if isMounted(target) {
		if err := syscall.Unmount(target, 0); err != nil {
			return nil, status.Errorf(codes.Internal, "%s cannot be unmounted: %v", target, err)
		}
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// own gives the folder and all in it to whom the mount options name; the pod's group counts where they name none.
func own(root string, options []string, group string) error {
	uid, gid, mode := 0, 0, 0o777
	if number, err := strconv.Atoi(group); err == nil {
		gid = number
	}
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		number, err := strconv.ParseInt(value, map[bool]int{true: 8, false: 10}[name == "dir_mode"], 32)
		if err != nil {
			continue // none of those that are looked at here
		}
		switch name {
		case "uid":
			uid = int(number)
		case "gid":
			gid = int(number)
		case "dir_mode":
			mode = int(number)
		}
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if err := os.Chmod(path, fs.FileMode(mode)); err != nil {
				return err
			}
		}
		return os.Lchown(path, uid, gid)
	})
}

func isMounted(path string) bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == path {
			return true
		}
	}
	return false
}
